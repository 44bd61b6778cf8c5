"""Every client format against every provider format, through real SDKs and a real gateway."""
