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

// handle is the table of keys. An error ends the connection.
func (c *conn) handle(h wire.Header, req kmsg.Request) (kmsg.Response, error) {
	switch r := req.(type) {
	case *kmsg.ListOffsetsRequest:
		return c.listOffsets(r), nil
	case *kmsg.OffsetForLeaderEpochRequest:
		return c.offsetForLeaderEpoch(r), nil
	case *kmsg.MetadataRequest:
		return c.metadata(r)
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
	case *kmsg.ConsumerGroupHeartbeatRequest:
		return c.consumerGroupHeartbeat(h, r), nil
	case *kmsg.ConsumerGroupDescribeRequest:
		return c.consumerGroupDescribe(r), nil
	case *kmsg.ShareGroupHeartbeatRequest:
		return c.shareGroupHeartbeat(h, r), nil
	case *kmsg.ShareGroupDescribeRequest:
		return c.shareGroupDescribe(r), nil
	case *kmsg.ShareFetchRequest:
		return c.shareFetch(r)
	case *kmsg.DescribeShareGroupOffsetsRequest:
		return c.describeShareOffsets(r), nil
	case *kmsg.AlterShareGroupOffsetsRequest:
		return c.alterShareOffsets(r), nil
	case *kmsg.DeleteShareGroupOffsetsRequest:
		return c.deleteShareOffsets(r), nil
	case *kmsg.ShareAcknowledgeRequest:
		return c.shareAcknowledge(r), nil
	case *kmsg.DescribeGroupsRequest:
		return c.describeGroups(r), nil
	case *kmsg.ListGroupsRequest:
		return c.listGroups(r), nil
	case *kmsg.SASLHandshakeRequest:
		return c.saslHandshake(r), nil
	case *kmsg.SASLAuthenticateRequest:
		return c.saslAuthenticate(r)
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
	case *kmsg.AddPartitionsToTxnRequest:
		return c.addPartitionsToTxn(r), nil
	case *kmsg.AddOffsetsToTxnRequest:
		return c.addOffsetsToTxn(r), nil
	case *kmsg.TxnOffsetCommitRequest:
		return c.txnOffsetCommit(r), nil
	case *kmsg.EndTxnRequest:
		return c.endTxn(r), nil
	case *kmsg.WriteTxnMarkersRequest:
		return c.writeTxnMarkers(r), nil
	case *kmsg.DescribeProducersRequest:
		return c.describeProducers(r), nil
	case *kmsg.DescribeTransactionsRequest:
		return c.describeTransactions(r), nil
	case *kmsg.ListTransactionsRequest:
		return c.listTransactions(r), nil
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
	case *kmsg.DescribeLogDirsRequest:
		return c.describeLogDirs(r), nil
	case *kmsg.DescribeUserSCRAMCredentialsRequest:
		return c.describeCredentials(r), nil
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		return c.alterCredentials(r), nil
	case *kmsg.DescribeClientQuotasRequest:
		return c.describeQuotas(r), nil
	case *kmsg.AlterClientQuotasRequest:
		return c.alterQuotas(r), nil
	case *kmsg.UpdateFeaturesRequest:
		return c.updateFeatures(r), nil
	case *kmsg.DescribeClusterRequest:
		return c.describeCluster(r), nil
	case *kmsg.ElectLeadersRequest:
		return c.electLeaders(r), nil
	case *kmsg.AlterPartitionAssignmentsRequest:
		return c.alterAssignments(r), nil
	case *kmsg.ListPartitionReassignmentsRequest:
		return c.listReassignments(r), nil
	case *kmsg.AlterReplicaLogDirsRequest:
		return c.alterLogDirs(r), nil
	case *kmsg.DescribeQuorumRequest:
		return c.describeQuorum(r), nil
	case *kmsg.DescribeTopicPartitionsRequest:
		return c.describePartitions(r), nil
	case *kmsg.ListConfigResourcesRequest:
		return c.listResources(r), nil
	case *kmsg.CreateDelegationTokenRequest:
		return c.createToken(r), nil
	case *kmsg.RenewDelegationTokenRequest:
		return c.renewToken(), nil
	case *kmsg.ExpireDelegationTokenRequest:
		return c.expireToken(), nil
	case *kmsg.DescribeDelegationTokenRequest:
		return c.describeTokens(), nil
	case *kmsg.DescribeACLsRequest:
		return c.describeACLs(r), nil
	case *kmsg.CreateACLsRequest:
		return c.createACLs(r), nil
	case *kmsg.DeleteACLsRequest:
		return c.deleteACLs(r), nil
	}
	return nil, fmt.Errorf("no handler for key %d", req.Key())
}
