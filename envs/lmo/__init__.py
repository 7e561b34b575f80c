"""The environment ``lmo``: eight objects on tables, as in Linemod-Occluded."""
