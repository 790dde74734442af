"""What the command line and the web side both answer: questions to the engine and to a cluster, as records and JSON.

Nothing here prints, and nothing knows who asks.
"""
