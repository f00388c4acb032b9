"""The operator alone: its rivals, the layers it is measured on, and the measurements on a CPU and on a GPU.

May import `common`.
"""
