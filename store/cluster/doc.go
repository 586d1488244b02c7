// Package cluster is the store on an Apache Kafka cluster, or on another that speaks
// its protocol: the cluster keeps the data, this process keeps nothing.
//
//	log          a partition of a topic, appended to with acks=all
//	work cursor  the committed offset of that partition in one group, with what was
//	             handed out and acked ahead in its metadata
//	lease        the assignment of a partition of the topic PREFIX.slots in that same
//	             group: who lost it has its commits refused
//	table        a compacted topic of one partition, which everybody reads from its start
//
// It uses the smallest set of requests that such clusters have in common: idempotent
// produce, fetch, list offsets, classic groups, offset commits with metadata, and the
// creation and deletion of topics and records.
//
// Locks: Log.mu and table.mu are leaves; Store.commitMu comes before Log.mu.
package cluster
