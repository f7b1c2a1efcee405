"""The command line: arguments in, one call.

A module's top imports only what is light, so that ``--help`` comes at once: what a subcommand works with is imported
when it runs.
"""
