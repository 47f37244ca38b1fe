// Package bolt is the store in one file. It knows nothing of sessions and messages: what was
// answered with nil is on the disk.
//
// # How it works
//
// The file is a bbolt database. One goroutine writes it. All batches that are queued
// when a transaction begins share it (up to Options.TxOps and TxBytes), so a lone event
// is committed at once and a burst costs few commits. A transaction writes changed
// pages to free places, waits for the disk, writes one of two root pages, and waits
// again. A process that is killed therefore leaves either all or nothing of it.
//
// # Linger
//
// A transaction costs about the same whether it has one batch or ten. So with
// Options.Linger transactions begin at least so long after each other, as long as requests
// come in company: one of the last four transactions had several batches, or more requests
// came while it was written. What is measured is the time from beginning to beginning, so:
//
//   - A request that comes when no transaction has begun within the linger is committed at
//     once. No device that sends less often than that ever waits.
//   - A device that sends again as soon as it is answered, alone, does not wait either, as
//     nobody would share its transactions. After others have gone silent it waits four times.
//   - On a disk that takes longer for a transaction, what comes meanwhile has company anyway,
//     and nothing is added.
//   - What is lazy waits ten times as long for something that is not, to share its transaction,
//     and does not count as company.
//   - Nothing waits that has no gain from it: a queue or a transaction that is full, a
//     call of LoadPrefix (which ends a transaction, and needs none), Close, and a store that
//     fails, where batches are refused or make room.
//
// # Damage
//
// bbolt has checksums in its root pages only. So each transaction also records, for
// each bucket, the number of records and the sum of their hashes, and the number of the
// transaction. Open reads the whole file, checks its structure and compares. It
// recognizes pages that are zeroed, altered, lost or older than they should be. When
// the last transaction is not complete, though the disk had confirmed it, the one before
// it is used: bbolt does not write over its pages until the next one begins. When that
// is damaged too, the file is moved aside and a new one is made. The price is that Open
// reads the file once: 0.1 s for 100,000 records of 300 bytes in 65 MB, from the cache.
//
// While the store runs, LoadPrefix reads pages as they are: one that cannot be read, or is no
// page of the file, is an error for those who have records on it; octets that are altered
// within a record are only found by the next Open.
//
// One thing cannot be recognized: a disk that confirmed a transaction and wrote nothing
// of it at all.
//
// # Failures while running
//
// When a commit fails (no space, read-only, an input/output error), its batches are
// answered with the error. For one second all batches with a Put are answered with it
// at once; then the file is opened again and the next batch, or without one an empty
// transaction, is tried. Batches that only delete are committed even on a full disk, as
// long as the file has free pages, because they make room. A file that was removed is
// written again from the open descriptor. A file that was replaced by another one is
// left alone, and commits fail until the program is started again. Reading a memory map
// whose file was cut short or has an unreadable sector is an error and ends nothing.
//
// # Size of the file
//
// Free pages are used again, but bbolt never gives them back. When more than half of
// the file and more than 8 MiB is free, the file is rewritten without them: at Open,
// and by the writer at most once a minute. That needs space for a second copy of the
// records; without it the file stays as it is. Options.MaxBytes is the upper limit.
//
// # Bytes written per event
//
// A page has 4096 bytes on every machine. BenchmarkBytesPerEvent measures, with values of
// 40 bytes (topic id) and 150 bytes (message held, or removed again) under keys of 20
// bytes, in a file that holds for each device one session of 200 bytes, 5 topic ids and 2
// messages; "alone" is one event per transaction, the others are events of devices all
// over the file that share one. A message for the broker goes to a bucket that is nearly empty.
//
//	                          bytes handed to the file per event
//	devices  event              alone   10 together   100 together
//	50       topic id          20,480         5,200            600
//	50       message held      20,480         5,200            600
//	1,000    topic id          24,576         7,000          3,300
//	1,000    message held      24,576         7,000          3,400
//	20,000   topic id          24,576         9,800          7,000
//	20,000   message held      24,576         9,800          7,100
//	any      message spooled   12,288         1,400            330
//
// The pages of a lone event are: the leaf with the record, the pages above it, the root
// of the buckets, the list of free pages (8 bytes per free page) and the root page. The
// file system adds its journal: 12 to 14 KiB per transaction on ext4, whatever its size,
// measured by write_bytes of /proc/self/io.
//
// A batch that changes nothing is not written. On a slow card batches gather by themselves
// while a commit lasts.
//
// The list of free pages could be left out of the transactions, which saves one page of
// a lone event. It is written, because without it the engine scans the file after each
// failed commit, in a goroutine where an unreadable page would end the process.
package bolt
