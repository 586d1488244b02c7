package management

// overviewRows are about the broker as a whole.
var overviewRows = []row{
	{path: "whoami", method: get, who: management, do: (*call).whoami, about: "The user whom the request is of"},
}

func (c *call) whoami() error {
	return c.json(object{{"name", c.user.Name}, {"tags", tagList(c.user.Tags)}, {"is_internal_user", true}})
}

// tagList is a list of tags, never null.
func tagList(tags []string) []string {
	if tags == nil {
		return []string{}
	}
	return tags
}
