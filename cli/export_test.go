package cli

// CtlVerbs are the verbs that are done.
func CtlVerbs() (names []string) {
	for _, v := range verbs {
		if v.instead == "" {
			names = append(names, v.name)
		}
	}
	return names
}
