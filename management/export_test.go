package management

import "slices"

// Rows are all rows, for tests that hold something about every one.
func Rows() []row {
	rows := allRows()
	if _, err := newRouter(rows); err != nil { // which names the arguments
		panic(err)
	}
	return rows
}

// Path, Method and Role are what a row says.
func (r row) Path() string { return r.path }

// Method is the row's.
func (r row) Method() string { return r.method }

// Role is whom it is for.
func (r row) Role() string { return r.who.String() }

// EntersVHost says that the row is for those who may enter the virtual host in its path.
func (r row) EntersVHost() bool {
	return (r.scope == entered || r.scope == worked) && slices.Contains(r.args, "vhost")
}

// Looks says that administrators may, too: the row changes nothing, and reads no messages.
func (r row) Looks() bool { return r.scope == entered && r.method == get }

// SeesVHost says that who may look at everything may, too.
func (r row) SeesVHost() bool { return r.scope == seen && slices.Contains(r.args, "vhost") }
