package management

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/definitions"
)

// definitionRows are about files of definitions.
var definitionRows = []row{
	{path: "definitions", method: get, who: administrator, do: (*call).exportAll, also: []int{http.StatusNotModified}, about: "All that is defined, as a file; with ?download=NAME a browser saves it"},
	{path: "definitions", method: post, who: administrator, do: (*call).importAll, body: fileBody{}, gives: http.StatusNoContent, also: []int{http.StatusSeeOther, http.StatusUnsupportedMediaType},
		about: "Adds and overwrites what a file of definitions says, all of it or, when something in it is wrong, nothing"},
	{path: "definitions/{vhost}", method: get, who: administrator, scope: unasked, do: (*call).exportVHost, also: []int{http.StatusNotModified}, about: "What is defined in a virtual host, as a file that names none"},
	{path: "definitions/{vhost}", method: post, who: administrator, scope: seen, do: (*call).importVHost, body: fileBody{}, gives: http.StatusNoContent, also: []int{http.StatusSeeOther, http.StatusUnsupportedMediaType},
		about: "Adds and overwrites what a file says of parameters, policies, exchanges, queues and bindings, in a virtual host"},
}

// fileBody stands for a file of definitions, which package definitions reads.
type fileBody struct{}

func (c *call) exportAll() error { return c.export("") }

func (c *call) exportVHost() error {
	if _, err := c.s.opts.Broker.VHost(c.arg("vhost")); err != nil {
		return badRequest("vhost_not_found")
	}
	return c.export(c.arg("vhost"))
}

// exportedBytes is about what one thing takes in memory while it is exported.
const exportedBytes = 512

func (c *call) export(vhost string) error {
	if name := c.query("download"); name != "" {
		if strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }) {
			return badRequest("'download' must be a file name of letters, digits and any of !#$%%&'*+-.^_`|~")
		}
		c.w.Header().Set("Content-Disposition", "attachment; filename="+name)
	}
	things := int64(0)
	for _, v := range c.s.opts.Broker.VHosts() {
		things += int64(len(v.Queues()))
	}
	if err := c.take((things + 1) * exportedBytes); err != nil {
		return err
	}
	if err := c.s.opts.Users.Awaited(c.r.Context()); err != nil { // who has no hash yet could not log in where the file is read
		return unavailable("passwords are still being hashed behind the start: try again in a moment")
	}
	source := definitions.Source{Broker: c.s.opts.Broker.Defined(), Access: c.s.opts.Access.Stored(), VHost: vhost, ClusterName: c.s.nameOfCluster(), Version: c.s.opts.Version}
	tag, err := etagOf(source)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", tag)
	if matchesTag(c.r.Header.Values("If-None-Match"), tag) {
		return c.empty(http.StatusNotModified)
	}
	var failed error
	err = c.stream(http.StatusOK, "application/json", func(o *output) {
		var warnings []string
		warnings, failed = definitions.Export(exportWriter{o}, source)
		for _, w := range warnings {
			c.log.Warn("not all of what is defined can be said in a file", "warning", w)
		}
	})
	return errors.Join(err, failed)
}

// etagOf is a digest of a file of definitions, which is the same as long as the file is: it is written twice, so that it need not
// be kept. The tag is a weak one, since answers are compressed for who wants that.
func etagOf(source definitions.Source) (string, error) {
	sum := sha256.New()
	if _, err := definitions.Export(sum, source); err != nil {
		return "", err
	}
	return `W/"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18]) + `"`, nil
}

// matchesTag says whether one of those in If-None-Match is the tag, which is weak or not as it likes.
func matchesTag(header []string, tag string) bool {
	for _, line := range header {
		for item := range strings.SplitSeq(line, ",") {
			if item = strings.TrimSpace(item); item == "*" || strings.TrimPrefix(item, "W/") == strings.TrimPrefix(tag, "W/") {
				return true
			}
		}
	}
	return false
}

// exportWriter writes to the body of an answer.
type exportWriter struct{ o *output }

func (w exportWriter) Write(p []byte) (int, error) {
	w.o.buf = append(w.o.buf, p...)
	if !w.o.room() {
		return 0, w.o.err
	}
	return len(p), nil
}

// isToken says whether RFC 9110 has the character in a token.
func isToken(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

func (c *call) importAll() error   { return c.importFile("") }
func (c *call) importVHost() error { return c.importFile(c.vhost.Name) }

// importFile applies the file that is the body, or stands in a form.
func (c *call) importFile(vhost string) error {
	const form = "multipart/form-data"
	if err := c.sentAs("application/json", form); err != nil {
		return err
	}
	file, err := c.raw(c.s.opts.MaxBody)
	if err != nil {
		return err
	}
	redirect := ""
	if kind, parameters, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind == form {
		if file, redirect, err = fileOf(file, parameters["boundary"]); err != nil {
			return err
		}
	}
	if err := c.apply(file, vhost); err != nil {
		return err
	}
	if redirect == "" {
		return c.none()
	}
	c.w.Header().Set("Location", redirect)
	return c.empty(http.StatusSeeOther)
}

// apply checks a file and, where nothing in it is wrong, does what it says.
func (c *call) apply(file []byte, vhost string) error {
	target := definitions.Target{Broker: c.s.opts.Broker, Access: c.s.opts.Access, Log: c.s.opts.Logger, VHost: vhost, Only: vhost != "", Name: "file sent over HTTP"}
	plan, warnings, err := definitions.Prepare(bytes.NewReader(file), target)
	if err != nil {
		return badRequest("%s", err.Error())
	}
	for _, w := range warnings {
		c.log.Warn("something in imported definitions has no effect", "warning", w)
	}
	err = plan.Apply(c.actor())
	if err != nil && broker.KindOf(err) == broker.NotFound { // somebody deleted it since
		return badRequest("%s", err.Error())
	}
	return err
}

// fileOf takes a form apart: the file, and where the browser is to go then.
func fileOf(form []byte, boundary string) (file []byte, redirect string, err error) {
	if boundary == "" {
		return nil, "", badRequest("the form has no boundary in its Content-Type")
	}
	parts, there := multipart.NewReader(bytes.NewReader(form), boundary), false
	for {
		p, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, "", badRequest("the form can't be read: %v", err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			return nil, "", badRequest("the form can't be read: %v", err)
		}
		switch p.FormName() {
		case "file":
			if !strings.HasSuffix(strings.ToLower(p.FileName()), ".json") {
				return nil, "", badRequest("unsupported_file_extension: the name of the file must end in .json")
			}
			file, there = text, true
		case "redirect":
			if redirect = string(text); !onThisSite(redirect) {
				return nil, "", badRequest("'redirect' must lead to a place on this server, such as /#/import-succeeded")
			}
		}
	}
	if !there {
		return nil, "", badRequest("the form has no field 'file'")
	}
	return file, redirect, nil
}

// onThisSite says whether a browser that is sent there stays on this server.
func onThisSite(to string) bool {
	if strings.ContainsFunc(to, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }) {
		return false
	}
	u, err := url.Parse(to)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && u.Opaque == "" && !strings.HasPrefix(to, "//")
}
