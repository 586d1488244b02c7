package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"container/heap"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Entry is one log line with what shipping it needs.
type Entry struct {
	Text  []byte    // without the line end; valid until the source's next call
	Time  time.Time // the line's own time; of an unreadable line that of the one before it
	Key   []byte    // routing key service.level; shared, not to be changed
	Error bool      // level error
}

// Source yields lines in the order of their times.
type Source interface {
	// Next returns the next line, and io.EOF after the last one.
	Next() (Entry, error)
	// Lines is how many there will be.
	Lines() int
	// Describe says in a sentence what the lines are and where they are from.
	Describe() string
}

const (
	maxFiles     = 512
	maxLineBytes = 64 << 10 // the rest of a longer line is dropped
)

// files merges the lines of log files by time.
type files struct {
	queue   byTime
	keys    keys
	total   int
	limit   int
	given   int
	title   string
	started bool
}

// openFiles opens a log file, or all log files of a directory and those below
// it. At most limit lines are read; 0 is all.
func openFiles(path string, limit int) (*files, []string, error) {
	names, err := listFiles(path)
	if err != nil {
		return nil, nil, err
	}
	f := &files{limit: limit, keys: keys{}}
	var notes []string
	for _, name := range names {
		lines, good, err := survey(name)
		switch {
		case err != nil:
			notes = append(notes, fmt.Sprintf("%s left out: %v", name, err))
		case !good:
			notes = append(notes, fmt.Sprintf("%s left out: its first lines are not of a web-server access log", name))
		default:
			f.total += lines
			f.queue = append(f.queue, &file{name: name, service: serviceOfFile(name)})
		}
	}
	if len(f.queue) == 0 {
		return nil, notes, fmt.Errorf("no web-server access log found in %s", path)
	}
	f.title = fmt.Sprintf("%s lines of %d log file(s) in %s", demo.Grouped(f.total), len(f.queue), path)
	if limit > 0 && f.total > limit {
		f.title += fmt.Sprintf(", of which the first %s are taken (--lines)", demo.Grouped(limit))
		f.total = limit
	}
	return f, notes, nil
}

func listFiles(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var names []string
	err = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && name != path
		if d.IsDir() && hidden {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() && !hidden {
			names = append(names, name)
		}
		if len(names) > maxFiles {
			return fmt.Errorf("%s holds more than %d files; name a smaller directory", path, maxFiles)
		}
		return nil
	})
	return names, err
}

// survey counts a file's lines and looks whether its first ones are of an access log.
func survey(name string) (lines int, good bool, err error) {
	r, err := openLog(name)
	if err != nil {
		return 0, false, err
	}
	defer r.Close()
	for {
		text, err := r.line()
		if err == io.EOF {
			return lines, good, nil
		}
		if err != nil {
			return 0, false, err
		}
		if lines < 50 && !good {
			_, err := parseLine(text)
			good = err == nil
		}
		lines++
		if lines >= 50 && !good {
			return lines, false, nil
		}
	}
}

func (f *files) Lines() int       { return f.total }
func (f *files) Describe() string { return f.title }

func (f *files) Next() (Entry, error) {
	if !f.started {
		f.started = true
		if err := f.start(); err != nil {
			return Entry{}, err
		}
	} else if len(f.queue) > 0 { // the file whose line was given last comes forward only now: its text was borrowed
		if err := f.queue[0].advance(); err == io.EOF {
			_ = f.queue[0].r.Close()
			heap.Pop(&f.queue)
		} else if err != nil {
			return Entry{}, err
		} else {
			heap.Fix(&f.queue, 0)
		}
	}
	if len(f.queue) == 0 || f.limit > 0 && f.given == f.limit {
		f.close()
		return Entry{}, io.EOF
	}
	f.given++
	top := f.queue[0]
	level := "other" // of lines that could not be read
	if top.readable {
		level = top.line.Level()
	}
	service := top.service
	if top.line.VHost != nil && top.readable {
		service = serviceOfHost(top.line.VHost)
	}
	return Entry{Text: top.text, Time: top.at, Key: f.keys.of(service, level), Error: level == "error"}, nil
}

func (f *files) start() error {
	var open byTime
	for _, x := range f.queue {
		r, err := openLog(x.name)
		if err != nil {
			return err
		}
		x.r = r
		switch err := x.advance(); err {
		case nil:
			open = append(open, x)
		case io.EOF:
			_ = r.Close()
		default:
			return err
		}
	}
	f.queue = open
	heap.Init(&f.queue)
	return nil
}

func (f *files) close() {
	for _, x := range f.queue {
		_ = x.r.Close()
	}
	f.queue = nil
}

// file is one log file and its next line.
type file struct {
	name, service string
	r             *logReader
	text          []byte
	line          Line
	readable      bool
	at            time.Time
}

func (x *file) advance() error {
	text, err := x.r.line()
	if err != nil {
		if err != io.EOF {
			err = fmt.Errorf("read %s: %w", x.name, err)
		}
		return err
	}
	x.text = text
	line, err := parseLine(text)
	if x.readable = err == nil; x.readable {
		x.line, x.at = line, line.Time
	}
	return nil
}

// byTime is a heap of files, the one with the earliest line on top.
type byTime []*file

func (q byTime) Len() int           { return len(q) }
func (q byTime) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q byTime) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byTime) Push(x any)        { *q = append(*q, x.(*file)) }
func (q *byTime) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// logReader reads lines of a plain or gzip-compressed file.
type logReader struct {
	file *os.File
	zip  *gzip.Reader
	buf  *bufio.Reader
}

func openLog(name string) (*logReader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r := &logReader{file: f, buf: bufio.NewReaderSize(f, maxLineBytes)}
	if magic, err := r.buf.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		if r.zip, err = gzip.NewReader(r.buf); err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		r.buf = bufio.NewReaderSize(r.zip, maxLineBytes)
	}
	return r, nil
}

// line returns the next line without its end, valid until the next call.
func (r *logReader) line() ([]byte, error) {
	text, err := r.buf.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		kept := bytes.Clone(text)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.buf.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return nil, err
		}
		return kept, nil
	case err == io.EOF && len(text) > 0: // the last line may lack its end
	case err != nil:
		return nil, err
	}
	return bytes.TrimRight(text, "\r\n"), nil
}

func (r *logReader) Close() error { return r.file.Close() }

// keys makes each routing key once.
type keys map[string]map[string][]byte

func (k keys) of(service, level string) []byte {
	levels := k[service]
	if levels == nil {
		levels = map[string][]byte{}
		k[service] = levels
	}
	key := levels[level]
	if key == nil {
		key = []byte(service + "." + level)
		levels[level] = key
	}
	return key
}

// serviceOfHost is the first label of a virtual host, as one word of a routing key.
func serviceOfHost(host []byte) string {
	if i := bytes.IndexByte(host, '.'); i > 0 {
		host = host[:i]
	}
	return routingWord(string(host))
}

// serviceOfFile is what a log file's name says besides that it is a log.
func serviceOfFile(name string) string {
	base := strings.ToLower(filepath.Base(name))
	for _, part := range []string{".gz", ".log", "access"} {
		base = strings.ReplaceAll(base, part, "")
	}
	base = strings.Trim(base, "0123456789._-")
	if base == "" {
		return "web"
	}
	return routingWord(base)
}

func routingWord(s string) string {
	const maxBytes = 60
	s = strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-', r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, s)
	return s[:min(len(s), maxBytes)]
}
