package management

// Rows are all rows, for tests that hold something about every one.
func Rows() []row { return allRows() }

// Path, Method and Role are what a row says.
func (r row) Path() string { return r.path }

// Method is the row's.
func (r row) Method() string { return r.method }

// Role is whom it is for.
func (r row) Role() string { return r.who.String() }
