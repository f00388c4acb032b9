"""Training of the miniature from nothing: data, the loop, and a stage for each part of the model.

Development only: no other room imports it. It may import `scenes` and the modules of `miniature`.
"""
