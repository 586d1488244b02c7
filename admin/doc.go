// Package admin serves what people and machines ask of a running broker over
// HTTP: /metrics for Prometheus, /health for whoever must know whether to send
// traffic here.
//
//	GET /health   200 and JSON when every listener is up and the store takes writes,
//	              503 and the reasons otherwise
//	GET /metrics  the figures of package metrics
//
// It owns the routes and the form of the answers. What is checked comes from
// outside as a list of named functions, so that the package reaches nothing
// below the broker. A check that hangs counts as failed after CheckTimeout; it
// goes on in the background and is not started a second time until it ends.
package admin
