package frame

import "strconv"

// end is behind each frame: its NUL, and a line feed, which RabbitMQ and ActiveMQ send, too.
const end = "\x00\n"

// End is what AppendEnd appends.
var End = []byte(end)

// Writer appends frames to Buf. A frame is Begin, Add for each header, and End.
type Writer struct {
	Buf     []byte
	Version Version
}

// Begin begins a frame.
func (w *Writer) Begin(command string) { w.Buf = append(append(w.Buf, command...), '\n') }

// Add appends a header.
func (w *Writer) Add(name, value string) {
	w.Buf = AppendEscaped(w.Buf, w.Version, name, true)
	w.Buf = append(w.Buf, ':')
	w.Buf = AppendEscaped(w.Buf, w.Version, value, false)
	w.Buf = append(w.Buf, '\n')
}

// End ends a frame with a body. Only one that may have a body says how long it is.
func (w *Writer) End(body string) {
	if body != "" {
		w.Add("content-length", strconv.Itoa(len(body)))
	}
	w.Buf = append(append(append(w.Buf, '\n'), body...), end...)
}

// text is a string or what will be one.
type text interface{ ~string | ~[]byte }

// AppendHeader appends a header line, escaped as the version has it.
func AppendHeader[T text](buf []byte, v Version, name string, value T) []byte {
	buf = append(append(buf, name...), ':')
	buf = AppendEscaped(buf, v, value, false)
	return append(buf, '\n')
}

// AppendEscaped appends a name or a value. 1.0 has no escapes; what would break its frames is escaped all the
// same: line ends, and a colon in a name.
func AppendEscaped[T text](buf []byte, v Version, s T, name bool) []byte {
	from := 0
	for i := 0; i < len(s); i++ {
		var ch byte
		switch s[i] {
		case '\n':
			ch = 'n'
		case '\r':
			if v == V11 { // which knows no escape for it, and takes it as it is unless a line ends with it
				continue
			}
			ch = 'r'
		case ':':
			if v == V10 && !name {
				continue
			}
			ch = 'c'
		case '\\':
			if v == V10 {
				continue
			}
			ch = '\\'
		case 0: // nothing can stand for it
			buf = append(buf, s[from:i]...)
			from = i + 1
			continue
		default:
			continue
		}
		buf = append(buf, s[from:i]...)
		buf = append(buf, '\\', ch)
		from = i + 1
	}
	return append(buf, s[from:]...)
}
