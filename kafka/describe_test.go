package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
)

func TestAConnectionIsSeenWithItsClientAndTraffic(t *testing.T) {
	r := newRig(t, func(o *Options) { o.Users = usersWith(t, "joe", "secret") })
	c := r.raw()
	v := kmsg.NewPtrApiVersionsRequest()
	v.ClientSoftwareName, v.ClientSoftwareVersion = "raw", "1.0"
	c.send(v, 3)
	var versions kmsg.ApiVersionsResponse
	c.receive(&versions, 3)
	list := r.broker.Connections()
	if len(list) != 1 || list[0].User != "" || list[0].VHost != "" {
		t.Fatalf("before the login: %+v", list)
	}
	h := kmsg.NewPtrSASLHandshakeRequest()
	h.Mechanism = "PLAIN"
	c.send(h, 1)
	c.receive(&kmsg.SASLHandshakeResponse{}, 1)
	a := kmsg.NewPtrSASLAuthenticateRequest()
	a.SASLAuthBytes = []byte("\x00joe\x00secret")
	c.send(a, 1)
	c.receive(&kmsg.SASLAuthenticateResponse{}, 1)
	c.produce("none", 1, makeBatch(nil, "v"))
	c.produce("none", -1, makeBatch(nil, "v"))
	got := r.broker.Connections()[0]
	if got.Protocol != "kafka" || got.Name != "raw" || got.User != "joe" || got.VHost != broker.DefaultVHost ||
		got.Peer != c.nc.LocalAddr().String() || got.Local != c.nc.RemoteAddr().String() ||
		!slices.Equal(got.Properties, []broker.Property{{Name: "software", Value: "raw"}, {Name: "version", Value: "1.0"}}) {
		t.Errorf("%+v", got)
	}
	if tr := got.Traffic; tr.FramesIn != 5 || tr.FramesOut != 5 || tr.BytesIn < 200 || tr.BytesOut < 200 {
		t.Errorf("%+v", tr)
	}
	c.nc.Close()
	eventually(t, "it is seen no more", func() bool { return len(r.broker.Connections()) == 0 })
}
