// Package web is the page for people: what the management API tells, to look at, and what it does, as forms.
//
//	browser ──► Handler.ServeHTTP ──► session (cookie) or Basic ──► view or act ──► ask ──► API.ServeVisitor
//	   ▲                                                             │                       (package management, in memory)
//	   └──────────── html/template, charts as SVG ◄──────────────────┘
//
// Everything that a page shows or does is a request to the API in the name of the user who signed in: who may see and do what is
// decided there, and nowhere here. The package owns sessions of browsers, the samples that charts are drawn from, and what pages
// look like; it must not reach the broker. Pages are whole without script: the one script there is (static/app.js) fetches the page
// that is shown again every few seconds and takes over the parts that are marked data-live. What came out for one browser is good for
// the next one of the same user for a moment (fragments), so that ten of them cost what two do.
//
// # How a page is added
//
// A view in views (views.go): its path, its template and the function that asks for what it shows. A form's act in acts: its path,
// the function that does it, and the view it stands on, which is shown again with what was wrong. Names in paths are one segment each, escaped.
package web
