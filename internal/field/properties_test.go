package field

import (
	"bytes"
	"reflect"
	"testing"
)

func fullProperties() *Properties {
	return &Properties{
		ContentType: []byte("text/plain"), ContentEncoding: []byte("utf-8"), Headers: allTags(), DeliveryMode: 2, Priority: 9,
		CorrelationID: []byte("c"), ReplyTo: []byte("r"), Expiration: []byte("1000"), MessageID: []byte("m"), Timestamp: 1700000000,
		Type: []byte("t"), UserID: []byte("guest"), AppID: []byte("a"), ClusterID: []byte("x"),
	}
}

func TestPropertiesAreReadAsTheyWereWritten(t *testing.T) {
	want := fullProperties()
	raw := RawProperties(want.AppendTo(nil))
	var got Properties
	if err := raw.Parse(&got); err != nil {
		t.Fatal(err)
	}
	if got.Flags != 0xfffc {
		t.Errorf("flags %#x", got.Flags)
	}
	want.Flags, want.headersAt, want.headersEnd = got.Flags, got.headersAt, got.headersEnd
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if h := RawProperties(bytes.Clone(raw)).HeadersOf(&got); !bytes.Equal(h, want.Headers) {
		t.Errorf("headers of a copy: %x, want %x", h, want.Headers)
	}
	for cut := range raw {
		if raw[:cut].Parse(new(Properties)) == nil {
			t.Errorf("accepted when cut to %d bytes", cut)
		}
	}
	if RawProperties(append(bytes.Clone(raw), 0)).Parse(new(Properties)) == nil {
		t.Error("accepted with a byte too many")
	}
}

func TestPropertiesGoldenBytes(t *testing.T) {
	raw := (&Properties{ContentType: []byte("a"), DeliveryMode: 2, Timestamp: 1}).AppendTo(nil)
	if want := []byte("\x90\x40\x01a\x02\x00\x00\x00\x00\x00\x00\x00\x01"); !bytes.Equal(raw, want) {
		t.Fatalf("%x", raw)
	}
}

func TestReplacingTheHeadersKeepsTheRest(t *testing.T) {
	props := fullProperties()
	props.Headers = AppendTableString(nil, "BCC", "x")
	raw := RawProperties(props.AppendTo(nil))
	var parsed Properties
	if err := raw.Parse(&parsed); err != nil {
		t.Fatal(err)
	}
	props.Headers = Table{}
	want := props.AppendTo(nil)
	if got := raw.AppendWithHeaders(nil, &parsed, parsed.Headers.AppendWithout(nil, "BCC")); !bytes.Equal(got, want) {
		t.Fatalf("%x\n%x", got, want)
	}
}

func TestUnusedFlagsAreRefused(t *testing.T) {
	for _, raw := range []RawProperties{{0, 1}, {0, 2}, {0x10, 1, 2}} {
		if raw.Parse(new(Properties)) == nil {
			t.Errorf("%x accepted", raw)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add(fullProperties().AppendTo(nil))
	f.Add([]byte{0x10, 0, 2})
	f.Fuzz(func(t *testing.T, in []byte) {
		raw := RawProperties(in)
		var props Properties
		err := raw.Parse(&props)
		if got := raw.Priority(); err == nil && got != props.Priority {
			t.Fatalf("%x: priority %d, want %d", in, got, props.Priority)
		}
		if err == nil && props.Flags&FlagHeaders != 0 {
			if again := raw.AppendWithHeaders(nil, &props, props.Headers); !bytes.Equal(again, in) {
				t.Fatalf("%x became %x", in, again)
			}
		}
	})
}

func FuzzAppendWithHeader(f *testing.F) {
	f.Add([]byte{0, 0})
	f.Add((&Properties{Flags: FlagHeaders | FlagAppID, Headers: AppendBool(AppendName(nil, "n"), true), AppID: []byte("i")}).Append(nil))
	f.Fuzz(func(t *testing.T, props []byte) {
		if !CheckProperties(props) {
			return
		}
		out := AppendWithHeader(nil, props, "n", AppendInt(nil, 7))
		var before, after Properties
		if err := before.Parse(props); err != nil {
			return
		}
		if err := after.Parse(out); err != nil {
			t.Fatalf("%q became %q: %v", props, out, err)
		}
		if v, ok := Find(after.Headers, "n"); !ok {
			t.Fatalf("no header in %q", out)
		} else if n, _ := v.Int(); n != 7 {
			t.Fatalf("header is %d", n)
		}
		if CheckTable(before.Headers) == nil && CheckTable(after.Headers) != nil {
			t.Fatalf("headers of %q are damaged", out)
		}
	})
}
