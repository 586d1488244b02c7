package management

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/access"
)

// row is one endpoint: see the package comment.
type row struct {
	path   string // below /api/; a segment in braces is an argument
	method string
	who    role
	scope  scope
	paged  bool // ?page= is known
	// free says that the answer is not JSON: do looks at Accept itself.
	free bool
	// query are the parameters behind the question mark that the row takes, for the description.
	query []string
	// body is what a body holds: a struct with json tags, for the description. Nil has none.
	body any
	// gives is the status of success; 0 is 200, and for PUT 201 or 204.
	gives int
	// also are statuses that it may give besides those of all rows.
	also  []int
	do    func(*call) error
	about string // a sentence without its full stop

	args []string // the names of the arguments, by place
}

// The methods of rows.
const (
	get  = http.MethodGet
	put  = http.MethodPut
	post = http.MethodPost
	del  = http.MethodDelete
)

// role is whom a row is for, by the tags of the user.
type role uint8

const (
	anybody       role = iota + 1 // who is not logged in, too
	management                    // whoever may use the API at all
	policymaker                   // who may write policies and parameters
	monitoring                    // who may look at everything
	administrator                 // who may do everything
)

// The tags of RabbitMQ that are not in package access.
const (
	tagManagement  = "management"
	tagPolicymaker = "policymaker"
)

// has says whether a user with these tags has the role.
func (k role) has(tags []string) bool {
	is := func(tag string) bool { return slices.Contains(tags, tag) }
	switch k {
	case anybody:
		return true
	case management:
		return is(tagManagement) || is(tagPolicymaker) || is(access.TagMonitoring) || is(access.TagAdministrator)
	case policymaker:
		return is(tagPolicymaker) || is(access.TagAdministrator)
	case monitoring:
		return is(access.TagMonitoring) || is(access.TagAdministrator)
	case administrator:
		return is(access.TagAdministrator)
	}
	return false
}

// refusal is what one hears who has not the role.
func (k role) refusal() string {
	switch k {
	case administrator:
		return "Not administrator user"
	case monitoring:
		return "Not monitor user"
	case policymaker:
		return "Not policymaker user"
	}
	return "Not management user"
}

// String is the role's name.
func (k role) String() string {
	return [...]string{anybody: "anybody", management: tagManagement, policymaker: tagPolicymaker, monitoring: access.TagMonitoring, administrator: access.TagAdministrator}[k]
}

// scope is what a row asks of the virtual host in its path.
type scope uint8

const (
	entered scope = iota // it is there, and the user may enter it, or is an administrator and only looks
	seen                 // it is there, and the user may enter it, or may look at everything and does not more, or is an administrator
	worked               // it is there, and the user may enter it: messages are read or written, though it is a GET
	unasked              // the row looks for itself
)

// families are the tables of rows, a file each; descriptionRows come to them.
var families = [][]row{
	overviewRows,
	queueRows,
	exchangeRows,
	bindingRows,
	messageRows,
	streamRows,
	groupRows,
	logRows,
	browseRows,
	jobRows,
	backupRows,
	connectionRows,
	nodeRows,
	healthRows,
	smallRows,
	vhostRows, userRows, permissionRows, policyRows, parameterRows, limitRows, definitionRows,
}

// allRows are those of all families.
func allRows() []row { return append(slices.Concat(families...), descriptionRows...) }

// node is one segment of the paths that there are.
type node struct {
	literal map[string]*node
	arg     *node
	rows    map[string]*row // by method
}

// newRouter puts rows into a tree. Two of the same path and method are a mistake.
func newRouter(rows []row) (*node, error) {
	root := &node{}
	for i := range rows {
		r := &rows[i]
		at := root
		r.args = nil
		for _, segment := range strings.Split(r.path, "/") {
			at = at.child(segment)
			if name, ok := argument(segment); ok {
				r.args = append(r.args, name)
			}
		}
		if at.rows == nil {
			at.rows = map[string]*row{}
		}
		if at.rows[r.method] != nil {
			return nil, fmt.Errorf("two rows for %s %s", r.method, r.path)
		}
		at.rows[r.method] = r
	}
	return root, nil
}

// argument is the name of a segment in braces.
func argument(segment string) (name string, ok bool) {
	if len(segment) > 2 && segment[0] == '{' && segment[len(segment)-1] == '}' {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}

func (n *node) child(segment string) *node {
	if _, ok := argument(segment); ok {
		if n.arg == nil {
			n.arg = &node{}
		}
		return n.arg
	}
	if n.literal == nil {
		n.literal = map[string]*node{}
	}
	if n.literal[segment] == nil {
		n.literal[segment] = &node{}
	}
	return n.literal[segment]
}

// find walks the tree; what is literal goes before what is an argument. The values are those of the arguments.
func (n *node) find(segments []segment, values []string) (*node, []string) {
	if len(segments) == 0 {
		if n.rows == nil {
			return nil, nil
		}
		return n, values
	}
	if next := n.literal[segments[0].text]; next != nil {
		if found, v := next.find(segments[1:], values); found != nil {
			return found, v
		}
	}
	if n.arg != nil && (segments[0].text != "" || len(segments) > 1) { // one without a name is the default exchange, or nothing's
		return n.arg.find(segments[1:], append(values, segments[0].text))
	}
	return nil, nil
}

// allow is the header of that name: the methods that there are, in RabbitMQ's order.
func (n *node) allow() string {
	var list []string
	for _, m := range []string{http.MethodHead, get, post, put, del, http.MethodOptions} {
		switch {
		case m == http.MethodOptions, n.rows[m] != nil, m == http.MethodHead && n.rows[get] != nil:
			list = append(list, m)
		}
	}
	return strings.Join(list, ", ")
}
