package management

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// descriptionRows is the row of the description, which is made from all rows.
var descriptionRows = []row{
	{path: "openapi.json", method: get, who: anybody, do: (*call).describe, about: "This description, in OpenAPI's form"},
}

func (c *call) describe() error { return c.json(c.s.description()) }

// describeAll is the API in OpenAPI 3.1.
func describeAll(rows []row) object {
	paths, at := object{}, map[string]int{}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.path, b.path) })
	for i := range rows {
		r := &rows[i]
		path := "/" + r.path
		n, there := at[path]
		if !there {
			n = len(paths)
			at[path] = n
			paths = append(paths, pair{path, object{}})
		}
		paths[n].value = append(paths[n].value.(object), pair{strings.ToLower(r.method), r.describe()})
	}
	return object{
		{"openapi", "3.1.0"},
		{"info", object{{"title", "Leveret management API"}, {"version", apiVersion},
			{"description", "RabbitMQ's HTTP API, as Leveret answers it. Names in paths are percent-encoded, the virtual host / is %2F."}}},
		{"servers", []any{object{{"url", base}}}},
		{"security", []any{object{{"basic", []any{}}}}},
		{"paths", paths},
		{"components", object{
			{"securitySchemes", object{{"basic", object{{"type", "http"}, {"scheme", "basic"}}}}},
			{"schemas", object{{"error", object{{"type", "object"}, {"required", []string{"error", "reason"}},
				{"properties", object{{"error", object{{"type", "string"}}}, {"reason", object{{"type", "string"}}}}}}}}},
		}},
	}
}

// describe is the row's operation.
func (r *row) describe() object {
	o := object{{"summary", r.about}, {"description", "For " + r.who.String() + "."}, {"operationId", r.id()}}
	if r.who == anybody {
		o = append(o, pair{"security", []any{}})
	}
	var parameters []any
	for segment := range strings.SplitSeq(r.path, "/") {
		if name, ok := argument(segment); ok {
			parameters = append(parameters, object{{"name", name}, {"in", "path"}, {"required", true}, {"schema", object{{"type", "string"}}}})
		}
	}
	if r.paged {
		for _, q := range []string{"page", "page_size"} {
			parameters = append(parameters, object{{"name", q}, {"in", "query"}, {"schema", object{{"type", "integer"}, {"minimum", 1}}}})
		}
		for _, q := range []string{"name", "use_regex", "sort", "sort_reverse", "columns"} {
			parameters = append(parameters, object{{"name", q}, {"in", "query"}, {"schema", object{{"type", "string"}}}})
		}
	}
	for _, q := range r.query {
		parameters = append(parameters, object{{"name", q}, {"in", "query"}, {"schema", object{{"type", "string"}}}})
	}
	if parameters != nil {
		o = append(o, pair{"parameters", parameters})
	}
	if r.body != nil {
		o = append(o, pair{"requestBody", object{{"content", object{{"application/json", object{{"schema", schemaOf(reflect.TypeOf(r.body))}}}}}}})
	}
	return append(o, pair{"responses", r.responses()})
}

// id names the operation.
func (r *row) id() string {
	return strings.ToLower(r.method) + "_" + strings.NewReplacer("/", "_", "{", "", "}", "", "-", "_", ".", "_").Replace(r.path)
}

// responses are the statuses that may come.
func (r *row) responses() object {
	bad := object{{"description", "refused, and why"}, {"content", object{{"application/json", object{{"schema", object{{"$ref", "#/components/schemas/error"}}}}}}}}
	var o object
	for _, status := range append(r.statuses(), r.also...) {
		if status >= http.StatusBadRequest {
			continue
		}
		o = append(o, pair{strconv.Itoa(status), object{{"description", http.StatusText(status)}}})
	}
	for _, status := range slices.Concat([]int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusNotAcceptable, http.StatusServiceUnavailable}, r.also) {
		switch {
		case status < http.StatusBadRequest:
		case status == http.StatusUnauthorized: // without a login the body is empty
			o = append(o, pair{strconv.Itoa(status), object{{"description", "not logged in, or not allowed, and why"}}})
		default:
			o = append(o, pair{strconv.Itoa(status), bad})
		}
	}
	return o
}

// statuses are those of success.
func (r *row) statuses() []int {
	switch {
	case r.gives != 0:
		return []int{r.gives}
	case r.method == put:
		return []int{http.StatusCreated, http.StatusNoContent}
	case r.method == del:
		return []int{http.StatusNoContent}
	}
	return []int{http.StatusOK}
}

// schemaFields are the names of what a body may hold.
func schemaFields(body any) (names []string) {
	t := reflect.TypeOf(body).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// schemaOf describes what a body may hold.
func schemaOf(t reflect.Type) object {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == rawType {
		return object{}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{{"type", "boolean"}}
	case reflect.Int, reflect.Int64:
		return object{{"type", "integer"}}
	case reflect.String:
		return object{{"type", "string"}}
	case reflect.Slice:
		return object{{"type", "array"}, {"items", schemaOf(t.Elem())}}
	case reflect.Map, reflect.Interface:
		return object{{"type", "object"}}
	case reflect.Struct:
		properties, needed := object{}, []string{}
		for i := range t.NumField() {
			f := t.Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			schema := schemaOf(f.Type)
			switch said := f.Tag.Get("schema"); said { // of what a row looks at itself
			case "":
			case "tags":
				schema = object{{"anyOf", []any{object{{"type", "string"}}, object{{"type", "array"}, {"items", object{{"type", "string"}}}}}}}
			default:
				schema = object{{"type", said}}
			}
			properties = append(properties, pair{name, schema})
			if f.Tag.Get("needed") == "true" {
				needed = append(needed, name)
			}
		}
		o := object{{"type", "object"}, {"properties", properties}}
		if len(needed) > 0 {
			o = append(o, pair{"required", needed})
		}
		return o
	}
	panic(fmt.Sprintf("no schema for %v", t))
}
