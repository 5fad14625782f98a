"""Flow control: what may be done right now, how fast, how much of it at once; shared by every process through the database.

Pauses by an operator, limits a second and at once, and circuits that open when what an effect goes to does not answer.

It refuses to be: where an effect is performed. It says when one may begin.
"""
