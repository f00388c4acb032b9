"""Repository of the operator for the kernel hub, laid out from this tree: `python -m tools.hub OUT`.

`layout` copies the package and what `repository` holds, and writes build.toml. Nothing of the tree is imported, and the
package stays as it is: its imports of itself are relative, and its ops are named after wherever it lives.
"""
