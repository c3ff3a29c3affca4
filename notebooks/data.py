# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Recordings
#
# Every chapter reads its data through one function, `load(id)`, and gets one type back, a
# `Recording`: responses with named dimensions and units, a table of trials, a table of neurons,
# and where they came from. A simulation is a recording too, with one thing more: its truth.
#
# This is the catalogue. Nothing of it is downloaded before a chapter asks for it; a file that lies
# in the folder named by the environment variable `VISUALCORTEX_DATA` is used where it is, once its
# checksum has been compared.

# %% tags=["hide-input"]
import pandas as pd

import visualcortex

pd.set_option("display.max_colwidth", None)
catalogue = visualcortex.catalogue()
catalogue[["what", "licence", "size", "how to get it"]]

# %% [markdown]
# The files behind the real ones, what identifies them, and the page that they come from. The
# Guan-lab recording belongs to {cite:t}`gao2021neurogan`, the seven recordings under photographs to
# {cite:t}`stringer2019`; natural scenes come from {cite:t}`siegle2021` (Neuropixels probes),
# {cite:t}`devries2020` (two-photon microscopy) and {cite:t}`willeke2022`, who also published a network
# of these neurons that can be asked for its response to any image (`visualcortex.load_model`). A file whose source publishes no hash of its own is identified by the object id
# that git gave it there, or by the checksum that the archive publishes under the data's DOI.

# %% tags=["hide-input"]
catalogue.loc[catalogue["files"] != "", ["files", "checksums", "url"]]

# %% [markdown]
# ## What a recording looks like
#
# A simulated calcium population, which takes no download:

# %%
recording = visualcortex.load("calcium_population", seed=0)
recording

# %% [markdown]
# Responses are an `xarray.DataArray`, so that no axis has to be remembered by its number:

# %%
recording.responses.sel(time=slice(0, 1)).mean(("trial", "time"))

# %% [markdown]
# ## What a loader does when something is wrong
#
# A misspelt id is answered with the valid ones:

# %%
try:
    visualcortex.load("guan2O18")
except ValueError as error:
    print(error)

# %% [markdown]
# A file that is not at hand and cannot be downloaded, a checksum that does not agree, a truncated
# or foreign file: each ends in one sentence that says which file, from where, and what to do. A
# download that was interrupted is never taken for a whole one.
