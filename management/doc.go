// Package management is RabbitMQ's HTTP API: what its page, rabbitmqadmin, operators, exporters and client
// libraries ask of a broker under /api, answered from the broker itself, exact at once.
//
//	request ──► Server.ServeHTTP ──► router: path and method to a row ──► login (auth) ──► tag, virtual host ──► row.do(call)
//	                                    │                                                                         │
//	                                    └─ OPTIONS, 404, 405                        broker.Session, access.Keeper ◄┘
//
// It owns the form of requests and answers: rows, names in paths, bodies, lists and errors. What a user may do to queues,
// exchanges and bindings is decided by a broker.Session as for every other client; what may be done to users and rights, by
// the user's tags (role) in the row. It must not reach the store, and keeps no copy of what others own but the samples of rates.
//
// # How an endpoint is added
//
// A family of endpoints is a file with a table of rows and the functions that the rows name; the table is entered in
// families (rows.go). A row says all that the frame has to know:
//
//	var widgetRows = []row{
//		{path: "widgets", method: get, who: management, do: (*call).listWidgets, about: "All widgets that the user may see"},
//		{path: "widgets/{vhost}/{name}", method: put, who: administrator, do: (*call).putWidget, about: "Makes a widget", body: widgetBody{}},
//	}
//
// A segment in braces takes one segment of the path, decoded. Where it is {vhost}, the virtual host is there (call.vhost;
// else 404) and the user may enter it before do is called, unless the row's scope says otherwise. HEAD and OPTIONS need no rows.
//
//	func (c *call) putWidget() error {
//		var b widgetBody                               // a struct with json tags; needed:"true" is a field that must be there
//		if err := c.body(&b); err != nil {             // 400 not_json, key_missing …
//			return err
//		}
//		s, err := c.session()                          // in c.vhost; asks for the permission there
//		if err != nil {
//			return err
//		}
//		created, err := s.PutWidget(c.arg("name"))     // an error of the broker becomes an answer in asFailure (errors.go)
//		if err != nil {
//			return err
//		}
//		return c.put(created)                          // 201 or 204
//	}
//
// Answers: call.json, call.one (an object, of which ?columns= may choose), call.list (objects: ?columns=, ?sort=, and paging in rows
// that say paged), call.put, call.none (204). For what only an administrator does, call.actor() is who acts. An error is a value of
// failure (badRequest, missing, notAuthorised), or any other, which asFailure turns into one.
//
// The table is also what /api/openapi.json is made from, and what the test of who may do what goes through (roles_test.go): a
// row that is missing there fails it.
package management
