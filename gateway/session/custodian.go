package session

// custodian is who answers for a message on its way to the device. The package documentation
// has the table of changes.
type custodian uint8

const (
	brokers custodian = iota // the broker, which has not been acknowledged it
	storing                  // the same; its record is on the way to the store
	ours                     // the gateway: it is in the store, and acknowledged to the broker
)

// upState says how far a message of the device has come on its way to the broker, and so
// who answers for it. The package documentation has the table of changes.
type upState uint8

const (
	upRelaying upState = iota // with the link; the device waits, and sends it again
	upRefused                 // the same, but the device has been told "congestion"
	upSaving                  // on its way to the store; the device waits

	// In the spool, which answers for it; the link has it on loan.
	upWaiting  // for the link
	upSent     // with the link
	upReceived // QoS 2: PUBREC has come; that is on the way to the store
	upReleased // QoS 2: the link may send PUBREL

	// What is left of a message of QoS 2 in the window, when the broker or the spool has it.
	upAnswered // PUBREC sent, PUBREL awaited
	upFinished // over; remembered until waitUntil for a late duplicate
)
