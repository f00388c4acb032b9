"""What every measurement needs, whatever it measures.

`machine`, `timing` and `memory` of a call, `ceilings` of a device, `settings` of a GPU run, `result_files` and the
`sources` they depend on. Imports no other room.
"""
