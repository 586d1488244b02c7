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
			{"schemas", object{{"error", failureSchema("error")}, {"failed", failureSchema("status")}}},
		}},
	}
}

// failureSchema describes what is answered when something is wrong.
func failureSchema(what string) object {
	text := object{{"type", "string"}}
	return object{{"type", "object"}, {"required", []string{what, "reason"}}, {"properties", object{{what, text}, {"reason", text}}}}
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
		parameters = append(parameters, object{{"name", "page"}, {"in", "query"}, {"schema", object{{"type", "integer"}, {"minimum", 1}}}},
			object{{"name", "page_size"}, {"in", "query"}, {"description", "1 to " + strconv.Itoa(maxPageSize) + "; looked at where page is given"}, {"schema", object{{"type", "integer"}}}})
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
	bad := refusal(object{{"$ref", "#/components/schemas/error"}})
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
		case status == http.StatusServiceUnavailable && strings.HasPrefix(r.path, "health"): // or too much is asked for at a time
			o = append(o, pair{strconv.Itoa(status), refusal(object{{"anyOf", []any{object{{"$ref", "#/components/schemas/failed"}}, object{{"$ref", "#/components/schemas/error"}}}}})})
		default:
			o = append(o, pair{strconv.Itoa(status), bad})
		}
	}
	return o
}

func refusal(schema object) object {
	return object{{"description", "refused, and why"}, {"content", object{{"application/json", object{{"schema", schema}}}}}}
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

// orNullSchema is a schema that takes null as well, which is as if nothing were said.
func orNullSchema(schema object) object {
	for i, p := range schema {
		switch p.name {
		case "type":
			schema[i].value = []any{p.value, "null"}
		case "anyOf":
			schema[i].value = append(p.value.([]any), object{{"type", "null"}})
		}
	}
	return schema
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
			if f.Tag.Get("needed") == "true" {
				needed = append(needed, name)
			} else {
				schema = orNullSchema(schema)
			}
			properties = append(properties, pair{name, schema})
		}
		o := object{{"type", "object"}, {"properties", properties}}
		if len(needed) > 0 {
			return append(o, pair{"required", needed})
		}
		return orNullSchema(o) // no body is an empty one
	}
	panic(fmt.Sprintf("no schema for %v", t))
}
