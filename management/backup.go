package management

import (
	"net/http"
	"time"

	"github.com/leveret-mq/leveret/broker"
)

// backupRows are about all that the broker keeps.
var backupRows = []row{
	{path: "backup", method: get, who: administrator, free: true, do: (*call).backup, query: []string{"vhost", "queue"},
		about: "A backup of the definitions and all messages as a tape archive, for leveret restore; with vhost and queue, which may be there several times, of the messages of these queues only"},
}

// backupWriteTime is how long a client may take to read a piece of a backup, while which nothing is dropped from disk.
const backupWriteTime = 30 * time.Second

// backupWriter begins the answer with the first bytes, so that what is refused before them is told as such.
type backupWriter struct {
	c       *call
	control *http.ResponseController
}

func (w *backupWriter) Write(p []byte) (int, error) {
	if !w.c.begun {
		w.c.begun = true
		w.c.w.Header().Set("Content-Type", "application/x-tar")
		w.c.w.Header().Set("Content-Disposition", `attachment; filename="leveret-`+time.Now().UTC().Format("20060102-150405")+`.tar"`)
		w.c.w.WriteHeader(http.StatusOK)
	}
	if err := w.c.s.stopping.Err(); err != nil {
		return 0, err
	}
	_ = w.control.SetWriteDeadline(time.Now().Add(backupWriteTime)) // a test's recorder has none
	return w.c.w.Write(p)
}

func (c *call) backup() error {
	if list := c.r.Header.Values("Accept"); len(list) > 0 && !accepts(list, "application/x-tar", "application/*", "*/*") {
		return &failure{status: http.StatusNotAcceptable, err: "not_acceptable", reason: "the answer would be application/x-tar, which the header Accept leaves out"}
	}
	queues, err := c.backedUp()
	if err != nil {
		return err
	}
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Time{}) // the request is read
	return c.s.opts.Broker.Backup(c.r.Context(), c.actor(), &backupWriter{c, control}, queues)
}

// backedUp are the queues that the request names; nil is all.
func (c *call) backedUp() ([]*broker.Queue, error) {
	query := c.r.URL.Query()
	if err := onlyQuery(query, c.row.query); err != nil {
		return nil, err
	}
	names := query["queue"]
	if len(names) == 0 && !query.Has("vhost") {
		return nil, nil
	}
	if len(query["vhost"]) > 1 {
		return nil, badRequest("'vhost' may be there once; the queues of a backup are of one virtual host, or of all")
	}
	vhost := broker.DefaultVHost
	if query.Has("vhost") {
		vhost = query.Get("vhost")
	}
	v, err := c.s.opts.Broker.VHost(vhost)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return append([]*broker.Queue{}, v.Queues()...), nil
	}
	queues := []*broker.Queue{}
	for _, name := range names {
		q, err := v.Queue(name)
		if err != nil {
			return nil, err
		}
		queues = append(queues, q)
	}
	return queues, nil
}
