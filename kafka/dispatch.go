package kafka

import (
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// decodeSlots bounds how many large frames are decoded at once: generated
// decoders reserve memory by what a frame claims, up to about a hundred times
// its size.
var decodeSlots = make(chan struct{}, 2)

const (
	largeFrameBytes = 64 << 10
	// maxElements bounds the topics, partitions, groups and so on in one request:
	// elements of a byte or two would be answered with ten times as many, and
	// an answer stays in memory until its client has read it.
	maxElements = 50_000
)

// decode reads a request of a generated type.
func decode(h wire.Header, body []byte) (kmsg.Request, error) {
	if len(body) <= largeFrameBytes {
		return wire.Decode(h, body)
	}
	decodeSlots <- struct{}{}
	defer func() { <-decodeSlots }()
	req, err := wire.Decode(h, body)
	if err != nil {
		return nil, err
	}
	if n := elements(reflect.ValueOf(req).Elem()); n > maxElements {
		return nil, fmt.Errorf("%s with %d elements: %w", h.Key, n, wire.ErrMalformed)
	}
	return req, nil
}

// elements counts the members of all arrays in a generated request, nested ones
// included. It is for large requests, which are rare.
func elements(v reflect.Value) (n int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n += elements(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return 0
		}
		n = v.Len()
		for i := 0; i < v.Len() && n <= maxElements; i++ {
			n += elements(v.Index(i))
		}
	}
	return n
}

// serveGenerated answers every request but Produce and Fetch.
func (c *conn) serveGenerated(h wire.Header, body []byte) error {
	req, err := decode(h, body)
	if err != nil {
		return err
	}
	res, err := c.handle(h, req)
	if err != nil {
		return err
	}
	res.SetVersion(h.Version)
	c.body = wire.Finish(res.AppendTo(wire.AppendResponseHeader(c.body[:0], h)), 0, 0)
	err = c.out.add(c.body)
	if cap(c.body) > 1<<20 {
		c.body = nil
	}
	if err == nil && c.refused {
		return errLoginRefused
	}
	return err
}

// handle is the table of keys. An error ends the connection.
func (c *conn) handle(h wire.Header, req kmsg.Request) (kmsg.Response, error) {
	switch r := req.(type) {
	case *kmsg.ListOffsetsRequest:
		return c.listOffsets(r), nil
	case *kmsg.MetadataRequest:
		return c.metadata(r), nil
	case *kmsg.OffsetCommitRequest:
		return c.offsetCommit(r), nil
	case *kmsg.OffsetFetchRequest:
		return c.offsetFetch(r), nil
	case *kmsg.FindCoordinatorRequest:
		return c.findCoordinator(r), nil
	case *kmsg.JoinGroupRequest:
		return c.joinGroup(h, r)
	case *kmsg.HeartbeatRequest:
		return c.heartbeat(r), nil
	case *kmsg.LeaveGroupRequest:
		return c.leaveGroup(r), nil
	case *kmsg.SyncGroupRequest:
		return c.syncGroup(r)
	case *kmsg.DescribeGroupsRequest:
		return c.describeGroups(r), nil
	case *kmsg.ListGroupsRequest:
		return c.listGroups(r), nil
	case *kmsg.SASLHandshakeRequest:
		return c.saslHandshake(r), nil
	case *kmsg.SASLAuthenticateRequest:
		return c.saslAuthenticate(r), nil
	case *kmsg.ApiVersionsRequest:
		return c.apiVersions(r), nil
	}
	return c.handleAdmin(req)
}

// handleAdmin is the second half of the table: what administrators send, and
// what is asked once in a producer's life.
func (c *conn) handleAdmin(req kmsg.Request) (kmsg.Response, error) {
	switch r := req.(type) {
	case *kmsg.CreateTopicsRequest:
		return c.createTopics(r), nil
	case *kmsg.DeleteTopicsRequest:
		return c.deleteTopics(r), nil
	case *kmsg.DeleteRecordsRequest:
		return c.deleteRecords(r), nil
	case *kmsg.InitProducerIDRequest:
		return c.initProducerID(r), nil
	case *kmsg.DescribeConfigsRequest:
		return c.describeConfigs(r), nil
	case *kmsg.CreatePartitionsRequest:
		return c.createPartitions(r), nil
	case *kmsg.DeleteGroupsRequest:
		return c.deleteGroups(r), nil
	case *kmsg.AlterConfigsRequest:
		return c.alterAllConfigs(r), nil
	case *kmsg.IncrementalAlterConfigsRequest:
		return c.incrementalAlterConfigs(r), nil
	case *kmsg.OffsetDeleteRequest:
		return c.offsetDelete(r), nil
	case *kmsg.DescribeClusterRequest:
		return c.describeCluster(r), nil
	}
	return nil, fmt.Errorf("no handler for key %d", req.Key())
}
