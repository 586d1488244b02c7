package amqpload

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/bench/measure"
)

func TestBlockOnTheWire(t *testing.T) {
	b, err := NewBlock(BlockOptions{Exchange: "x", Keys: []string{"k"}, BodyBytes: 12, Persistent: true, FrameMaxBytes: 4096}, 1)
	if err != nil {
		t.Fatal(err)
	}
	b.Stamp(measure.Seq(1, 2), 3)
	want := "01" + "0001" + "0000000b" + "003c0028" + "0000" + "0178" + "016b" + "00" + "ce" + // basic.publish x k
		"02" + "0001" + "0000000f" + "003c0000" + "000000000000000c" + "1000" + "02" + "ce" + // header: 12 bytes, delivery mode 2
		"03" + "0001" + "0000000c" + "0200000000000100" + "03000000" + "ce" // body: the stamp
	if got := hex.EncodeToString(b.Frames); got != want {
		t.Fatalf("got\n%s, want\n%s", got, want)
	}
}

func TestVariedMessagesCarryPropertiesOfTheirOwn(t *testing.T) {
	b, err := NewBlock(BlockOptions{Exchange: "x", Keys: []string{"k"}, BodyBytes: 12, Persistent: true, FrameMaxBytes: 4096, Varied: true}, 3)
	if err != nil {
		t.Fatal(err)
	}
	header := func(i int) []byte {
		_, _, n, err := splitFrame(b.Message(i))
		if err != nil {
			t.Fatal(err)
		}
		kind, p, _, err := splitFrame(b.Message(i)[n:])
		if err != nil || kind != frameHeader {
			t.Fatalf("frame of kind %d, %v", kind, err)
		}
		return p
	}
	want := "\x00\x3c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0c" + "\xb0\xc0" + "\x10application/json" +
		"\x00\x00\x00\x32" + "\x07serviceS\x00\x00\x00\x0acheckout-0" + "\x05traceS\x00\x00\x00\x109e3779b97f4a7c15" +
		"\x02" + "\x0am-00000000" + "\x00\x00\x00\x00\x6a\xb1\x3b\x80"
	if got := string(header(0)); got != want {
		t.Fatalf("got\n%q, want\n%q", got, want)
	}
	for i := range 2 {
		if bytes.Equal(header(i), header(i+1)) {
			t.Fatalf("messages %d and %d have the same properties", i, i+1)
		}
	}
}

func TestBlockCutsBodiesAtTheFrameMaximum(t *testing.T) {
	const size = 10_000
	b, err := NewBlock(BlockOptions{Keys: []string{"a", "bb"}, BodyBytes: size, FrameMaxBytes: 4096}, 3)
	if err != nil {
		t.Fatal(err)
	}
	b.Stamp(100, 7)
	for i := range 3 {
		m := b.Message(i)
		var body []byte
		for len(m) > 0 {
			kind, p, n, err := splitFrame(m)
			if err != nil || n == 0 || n > 4096 {
				t.Fatalf("message %d: frame of %d bytes, %v", i, n, err)
			}
			if kind == frameBody {
				body = append(body, p...)
			}
			m = m[n:]
		}
		if len(body) != size {
			t.Fatalf("message %d: body of %d bytes", i, len(body))
		}
		if seq, at := measure.Stamp(body); seq != uint64(100+i) || at != 7 {
			t.Fatalf("message %d: stamp %d, %d", i, seq, at)
		}
	}
	if end := b.end(2); end != len(b.Frames) {
		t.Fatalf("the last message ends at %d of %d", end, len(b.Frames))
	}
}

func TestMessagesOfABlockJoinToTheBlock(t *testing.T) {
	b, err := NewBlock(BlockOptions{Keys: []string{"a", "bb", "ccc"}, BodyBytes: 20, FrameMaxBytes: 4096}, 7)
	if err != nil {
		t.Fatal(err)
	}
	var joined []byte
	for i := range b.Messages() {
		joined = append(joined, b.Message(i)...)
	}
	if !bytes.Equal(joined, b.Frames) {
		t.Fatal("they do not")
	}
}

func TestBlockRefusesWhatCannotBe(t *testing.T) {
	if _, err := NewBlock(BlockOptions{Keys: []string{"a"}, BodyBytes: 11, FrameMaxBytes: 4096}, 1); err == nil {
		t.Error("a body too small for its stamp was taken")
	}
	if _, err := NewBlock(BlockOptions{Keys: []string{"a"}, BodyBytes: 12, FrameMaxBytes: 8}, 1); err == nil {
		t.Error("a frame-max below the protocol's was taken")
	}
}

func TestSplitFrame(t *testing.T) {
	whole := appendFrame(nil, frameBody, 1, []byte("abc"))
	for n := range whole {
		if _, _, took, err := splitFrame(whole[:n]); took != 0 || err != nil {
			t.Fatalf("%d bytes: took %d, %v", n, took, err)
		}
	}
	if kind, p, n, err := splitFrame(append(whole, 1)); kind != frameBody || string(p) != "abc" || n != len(whole) || err != nil {
		t.Fatalf("got %d %q %d %v", kind, p, n, err)
	}
	wrongEnd := bytes.Clone(whole)
	wrongEnd[len(wrongEnd)-1] = 0
	if _, _, _, err := splitFrame(wrongEnd); err == nil {
		t.Error("a wrong end was taken")
	}
	if _, _, _, err := splitFrame([]byte{3, 0, 1, 0xff, 0xff, 0xff, 0xff, 0}); err == nil {
		t.Error("a frame of 4 GiB was waited for")
	}
}

func TestServerName(t *testing.T) {
	props := table("cluster_name", "c", "product", "RabbitMQ", "version", "4.0.5", "platform", "Erlang/OTP 27")
	start := args(nil).u8(0).u8(9).long(props).long("PLAIN").long("en_US")
	if p, v, on := serverName(start); p != "RabbitMQ" || v != "4.0.5" || on != "Erlang/OTP 27" {
		t.Fatalf("got %q, %q, %q", p, v, on)
	}
	for n := range start {
		serverName(start[:n]) // must not panic
	}
	props = table("broker", "Leveret", "broker_version", "1.2", "product", "RabbitMQ", "version", "3.13.7")
	if p, v, _ := serverName(args(nil).u8(0).u8(9).long(props)); p != "Leveret" || v != "1.2" {
		t.Errorf("a broker that says who it is beside what it behaves like: %q, %q", p, v)
	}
}

func TestClosedTellsTheBrokersReason(t *testing.T) {
	p := args(nil).u16(404).short("NOT_FOUND - no queue").u16(60).u16(20)
	if err := closed(channelClose, p); err == nil || !strings.Contains(err.Error(), "404 NOT_FOUND - no queue") {
		t.Fatalf("got %v", err)
	}
	if err := closed(channelClose, []byte{1}); err == nil {
		t.Fatal("a close cut short is no close")
	}
	if err := closed(basicAck, binary.BigEndian.AppendUint64(nil, 1)); err != nil {
		t.Fatalf("an ack is a close: %v", err)
	}
}

// Whatever the number of keys, message i of all blocks in turn has key i modulo that number.
func TestBlocksUseEveryKeyEqually(t *testing.T) {
	for _, c := range []struct{ keys, messages, blocks int }{{1, 10, 1}, {3, 10, 1}, {10, 10, 1}, {11, 10, 2}, {64, 59, 2}, {1000, 7, 143}, {5, 1, 5}} {
		o := BlockOptions{BodyBytes: 12, FrameMaxBytes: 4096}
		for i := range c.keys {
			o.Keys = append(o.Keys, fmt.Sprintf("key-%d", i))
		}
		blocks, err := newBlocks(o, c.messages)
		if err != nil || len(blocks) != c.blocks {
			t.Fatalf("%+v: %d blocks, %v", c, len(blocks), err)
		}
		i := 0
		for _, b := range blocks {
			if b.Messages() > c.messages || b.Messages() < blocks[0].Messages() {
				t.Errorf("%+v: a block of %d messages, the first has %d", c, b.Messages(), blocks[0].Messages())
			}
			for j := range b.Messages() {
				want := method(basicPublish).u16(0).short("").short(o.Keys[i%c.keys]).u8(0)
				if !bytes.HasPrefix(b.Message(j), appendFrame(nil, frameMethod, 1, want)) {
					t.Fatalf("%+v: message %d has another key", c, i)
				}
				i++
			}
		}
		if i%c.keys != 0 {
			t.Errorf("%+v: %d messages, no multiple of the keys", c, i)
		}
	}
}
