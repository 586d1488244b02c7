package wire

import (
	"bytes"
	"testing"
)

func fullProperties() *Properties {
	return &Properties{
		ContentType: []byte("text/plain"), ContentEncoding: []byte("utf-8"), Headers: AppendTableInt(AppendTableString(nil, "k", "v"), "n", 1),
		DeliveryMode: 2, Priority: 9, CorrelationID: []byte("c"), ReplyTo: []byte("r"), Expiration: []byte("1000"), MessageID: []byte("m"),
		Timestamp: 1700000000, Type: []byte("t"), UserID: []byte("guest"), AppID: []byte("a"), ClusterID: []byte("x"),
	}
}

func TestContentHeaderGoldenBytes(t *testing.T) {
	raw := (&Properties{ContentType: []byte("a"), DeliveryMode: 2, Timestamp: 1}).AppendTo(nil)
	frame := AppendContentHeader(nil, 1, 12, raw)
	if want := unhex(t, "02 0001 00000019 003c 0000 000000000000000c 9040 01 61 02 0000000000000001 ce"); !bytes.Equal(frame, want) {
		t.Fatalf("%x", frame)
	}
}
