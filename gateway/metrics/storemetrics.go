package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"sngate/store"
)

// storeDescs are the metrics of the store.
type storeDescs struct {
	durable, healthy                     *prometheus.Desc
	commits, operations, writtenBytes    *prometheus.Desc
	failures, failedBatches, refused     *prometheus.Desc
	queuedBatches, queuedBytes           *prometheus.Desc
	fileBytes, freeBytes, lastCommitTime *prometheus.Desc
}

func newStoreDescs() storeDescs {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("sngate_store_"+name, help, nil, nil)
	}
	return storeDescs{
		durable:        desc("durable", "Whether the store is a file, 1, or memory, 0."),
		healthy:        desc("healthy", "Whether the last commit to the store succeeded, 1 or 0."),
		commits:        desc("commits_total", "Transactions written to the store."),
		operations:     desc("operations_total", "Records put into and deleted from the store."),
		writtenBytes:   desc("written_bytes_total", "Octets of the pages handed to the store's file."),
		failures:       desc("failures_total", "Commits to the store, and attempts to open it again, that failed."),
		failedBatches:  desc("failed_batches_total", "Batches of changes that the store did not commit."),
		refused:        desc("refused_batches_total", "Batches of changes that were not taken because the store's queue was full."),
		queuedBatches:  desc("queued_batches", "Batches of changes waiting for the store."),
		queuedBytes:    desc("queued_bytes", "Octets of memory of the batches waiting for the store."),
		fileBytes:      desc("file_bytes", "Size of the store's file."),
		freeBytes:      desc("free_bytes", "Part of the store's file that holds nothing and will be used again."),
		lastCommitTime: desc("last_commit_seconds", "Time the last successful commit took."),
	}
}

func (d *storeDescs) all() []*prometheus.Desc {
	return []*prometheus.Desc{
		d.durable, d.healthy, d.commits, d.operations, d.writtenBytes, d.failures, d.failedBatches, d.refused,
		d.queuedBatches, d.queuedBytes, d.fileBytes, d.freeBytes, d.lastCommitTime,
	}
}

func (d *storeDescs) collect(ch chan<- prometheus.Metric, s store.Store) {
	stats := s.Stats()
	gauge(ch, d.durable, oneIf(s.Durable()))
	gauge(ch, d.healthy, oneIf(s.Health() == nil))
	count(ch, d.commits, stats.Commits)
	count(ch, d.operations, stats.Ops)
	count(ch, d.writtenBytes, stats.Written)
	count(ch, d.failures, stats.Failures)
	count(ch, d.failedBatches, stats.Failed)
	count(ch, d.refused, stats.Refused)
	gauge(ch, d.queuedBatches, float64(stats.Queued))
	gauge(ch, d.queuedBytes, float64(stats.QueuedBytes))
	gauge(ch, d.fileBytes, float64(stats.FileBytes))
	gauge(ch, d.freeBytes, float64(stats.FreeBytes))
	gauge(ch, d.lastCommitTime, stats.LastCommit.Seconds())
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
