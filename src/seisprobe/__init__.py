"""seisprobe tests whether seismic data change before large earthquakes, with controls, nulls and power."""
