"""The command line: `toolmint`, its supervisor and its doctor.

It refuses to be: a second way to do what a use case does. A command calls the service, or starts and examines it.
"""
