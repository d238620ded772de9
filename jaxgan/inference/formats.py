"""The formats in which samples are written, by name; apart from their writers, so that `--help` needs no NumPy."""

FORMATS = ("grid", "png", "tiff8", "tiff32", "tiff01", "tiff_units", "ome", "npy", "nifti", "dicom", "zarr")
