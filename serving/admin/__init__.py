"""Administration: catalogue, merchandising rules, experiments, deletion of people, and the log of who did what.

Every change is noted before it is made and again when it has ended; documents change only as they were read.
"""
