package folders

// private trusts Windows: a user's folder for caches is that user's alone there.
func private(string, bool) error { return nil }
