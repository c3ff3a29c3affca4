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
# Every chapter gets its data from one function, `load(id)`, and always in the same form, as a
# `Recording`: responses with named dimensions and units, a table of trials, a table of neurons,
# and where they came from. A simulation is a recording too, with one thing more: its truth.
#
# ## The catalogue
#
# Nothing is downloaded before a chapter asks for it. A file that lies in the folder named by the
# environment variable `VISUALCORTEX_DATA` is used where it is, once its checksum has been compared.

# %% tags=["hide-input"]
import pandas as pd

import visualcortex

pd.set_option("display.max_colwidth", None)
catalogue = visualcortex.catalogue()
catalogue[["what", "licence", "size", "how to get it"]]

# %% [markdown]
# ## The files behind it
#
# These are the files of the real recordings, what identifies them, and the page that they come
# from. The Guan-lab recording belongs to {cite:t}`gao2021neurogan`, the seven recordings under
# photographs to {cite:t}`stringer2019`; natural scenes come from {cite:t}`siegle2021` (Neuropixels
# probes), {cite:t}`devries2020` (two-photon microscopy) and {cite:t}`willeke2022`, who also
# published a network of these neurons that can be asked for its response to any image
# (`visualcortex.load_model`).
#
# A file is identified by the hash that its source publishes. Where there is none, the object id
# that git gave it there takes its place, or the checksum that the archive publishes under the
# data's DOI.

# %% tags=["hide-input"]
catalogue.loc[catalogue["files"] != "", ["files", "checksums", "url"]]

# %% [markdown]
# ## What a recording looks like
#
# A simulated population under a calcium indicator, which needs no download:

# %%
recording = visualcortex.load("calcium_population", seed=0)
recording

# %% [markdown]
# Responses are an `xarray.DataArray`, so that no axis has to be remembered by its number:

# %%
recording.responses.sel(time=slice(0, 1)).mean(("trial", "time"))

# %% [markdown]
# ## What happens when something is wrong
#
# A misspelt id is answered with the valid ones. Here, a letter stands in the place of a nought:

# %%
try:
    visualcortex.load("guan2O18")
except ValueError as error:
    print(error)

# %% [markdown]
# A file that is not at hand and cannot be downloaded, a checksum that does not agree, a file that is
# cut short or is another one: each ends with a sentence that says which file, from where, and what
# to do. A download that was interrupted is never taken for a whole one.
