"""Known defects that are put back into the product one by one, to see which test notices each."""
