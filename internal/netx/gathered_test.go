package netx

import (
	"io"
	"net"
	"testing"
	"time"
)

// What is lent stands where it was lent, and a buffer that was given back is another's.
func TestGatheredIsWrittenInOrder(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	w := NewWriter(server, time.Minute, nil)
	got := make(chan string, 1)
	go func() {
		all, _ := io.ReadAll(client)
		got <- string(all)
	}()
	var g, other Gathered
	for _, turn := range []struct{ before, piece, behind string }{{"a", "BB", "c"}, {"d", "", "e"}, {"", "FF", ""}} {
		g.Begin()
		g.Buf = append(g.Buf, turn.before...)
		if turn.piece != "" {
			g.Lend([]byte(turn.piece))
		}
		g.Buf = append(g.Buf, turn.behind...)
		if want := len(turn.before + turn.piece + turn.behind); g.Len() != want {
			t.Errorf("%d bytes were gathered, want %d", g.Len(), want)
		}
		if err := g.WriteTo(w); err != nil {
			t.Fatal(err)
		}
		g.Free()
		if g.Buf != nil || g.Len() != 0 {
			t.Errorf("%d bytes are left", g.Len())
		}
		other.Begin()
		if len(other.Buf) != 0 || cap(other.Buf) < GatherBytes {
			t.Errorf("a buffer of %d bytes of %d", len(other.Buf), cap(other.Buf))
		}
		other.Free()
	}
	server.Close()
	if all := <-got; all != "aBBcdeFF" {
		t.Errorf("written: %q", all)
	}
}
