"""What things cost: raw usage of models and runs, prices, the prompt-time baseline, break-even.

It refuses to be: a bill. An unknown price is unknown, never zero.
"""
