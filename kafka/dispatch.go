package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// keptBodyBytes is the longest memory of an answer that stays with its connection.
const keptBodyBytes = 16 << 10

// serveGenerated answers every request but Produce and Fetch. What it decodes to is
// charged before it is decoded, and what the handlers build before they build it.
func (c *conn) serveGenerated(h wire.Header, body []byte) error {
	defer c.releaseBill()
	m, err := wire.Measure(h, body)
	if err != nil {
		return err
	}
	if err := c.charge(m.Memory()); err != nil {
		return fmt.Errorf("%s with %d elements: %w", h.Key, m.Elements, err)
	}
	req, err := wire.Decode(h, body)
	if err != nil {
		return err
	}
	defer c.share.done()
	res, err := c.handle(h, req)
	if err != nil {
		return err
	}
	c.refusedIn(h.Key, res)
	res.SetVersion(h.Version)
	if r, ok := res.(*kmsg.ShareFetchResponse); ok && c.share.acquired.Bytes() > 0 {
		return c.sendAcquired(h, r)
	}
	c.body = wire.Finish(res.AppendTo(wire.AppendResponseHeader(c.body[:0], h)), 0, 0)
	if len(c.body) >= sendBytes {
		err = c.out.vector([][]byte{c.body}) // not gathered: that would be a copy
	} else {
		err = c.out.add(c.body)
	}
	if cap(c.body) > keptBodyBytes {
		c.body = nil
	}
	if err == nil && c.over {
		return errLoginRefused
	}
	return err
}

// handle has the request's handler answer it. An error ends the connection.
func (c *conn) handle(h wire.Header, req kmsg.Request) (kmsg.Response, error) {
	do, ok := handlers[req.Key()]
	if !ok {
		return nil, fmt.Errorf("no handler for key %d", req.Key())
	}
	return do(c, h, req)
}

// handlers are what answers requests, by key.
var handlers = table(
	on((*conn).listOffsets),
	on((*conn).offsetForLeaderEpoch),
	onFailing((*conn).metadata),
	on((*conn).offsetCommit),
	on((*conn).offsetFetch),
	on((*conn).findCoordinator),
	onBoth((*conn).joinGroup),
	on((*conn).heartbeat),
	on((*conn).leaveGroup),
	onFailing((*conn).syncGroup),
	onHeaded((*conn).consumerGroupHeartbeat),
	on((*conn).consumerGroupDescribe),
	onHeaded((*conn).shareGroupHeartbeat),
	on((*conn).shareGroupDescribe),
	onFailing((*conn).shareFetch),
	on((*conn).describeShareOffsets),
	on((*conn).alterShareOffsets),
	on((*conn).deleteShareOffsets),
	on((*conn).shareAcknowledge),
	on((*conn).describeGroups),
	on((*conn).listGroups),
	on((*conn).saslHandshake),
	onFailing((*conn).saslAuthenticate),
	on((*conn).apiVersions),
	// What administrators send, and what is asked once in a producer's life.
	on((*conn).createTopics),
	on((*conn).deleteTopics),
	on((*conn).deleteRecords),
	on((*conn).initProducerID),
	on((*conn).addPartitionsToTxn),
	on((*conn).addOffsetsToTxn),
	on((*conn).txnOffsetCommit),
	on((*conn).endTxn),
	on((*conn).writeTxnMarkers),
	on((*conn).describeProducers),
	on((*conn).describeTransactions),
	on((*conn).listTransactions),
	on((*conn).describeConfigs),
	on((*conn).createPartitions),
	on((*conn).deleteGroups),
	on((*conn).alterAllConfigs),
	on((*conn).incrementalAlterConfigs),
	on((*conn).offsetDelete),
	on((*conn).describeLogDirs),
	on((*conn).describeCredentials),
	on((*conn).alterCredentials),
	on((*conn).describeQuotas),
	on((*conn).alterQuotas),
	on((*conn).updateFeatures),
	on((*conn).describeCluster),
	on((*conn).electLeaders),
	on((*conn).alterAssignments),
	on((*conn).listReassignments),
	on((*conn).alterLogDirs),
	on((*conn).describeQuorum),
	on((*conn).describePartitions),
	on((*conn).listResources),
	on((*conn).createToken),
	on((*conn).renewToken),
	on((*conn).expireToken),
	on((*conn).describeTokens),
	on((*conn).describeACLs),
	on((*conn).createACLs),
	on((*conn).deleteACLs),
)

type handler func(*conn, wire.Header, kmsg.Request) (kmsg.Response, error)

type row struct {
	key int16
	do  handler
}

func table(rows ...row) map[int16]handler {
	t := make(map[int16]handler, len(rows))
	for _, r := range rows {
		t[r.key] = r.do
	}
	return t
}

// onBoth is a row of the table; the request's type tells the key. The functions below make one of what takes or returns less.
func onBoth[R kmsg.Request](answer func(*conn, wire.Header, R) (kmsg.Response, error)) row {
	var r R
	return row{r.Key(), func(c *conn, h wire.Header, req kmsg.Request) (kmsg.Response, error) { return answer(c, h, req.(R)) }}
}

func onHeaded[R kmsg.Request](answer func(*conn, wire.Header, R) kmsg.Response) row {
	return onBoth(func(c *conn, h wire.Header, r R) (kmsg.Response, error) { return answer(c, h, r), nil })
}

func onFailing[R kmsg.Request](answer func(*conn, R) (kmsg.Response, error)) row {
	return onBoth(func(c *conn, _ wire.Header, r R) (kmsg.Response, error) { return answer(c, r) })
}

func on[R kmsg.Request](answer func(*conn, R) kmsg.Response) row {
	return onBoth(func(c *conn, _ wire.Header, r R) (kmsg.Response, error) { return answer(c, r), nil })
}
