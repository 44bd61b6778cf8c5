"""The Converse format: Converse and ConverseStream of Amazon Bedrock. Provider side only.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""
