"""The common language every other room speaks. Imports nothing from the project."""
