package gateway

import (
	"testing"

	"sngate/upstream"
)

// A kind of event that is not translated would reach a session as none.
func TestEveryEventOfALinkIsTranslated(t *testing.T) {
	for kind := upstream.EventConnected; kind <= upstream.EventParked; kind++ {
		translated := int(kind) < len(eventKinds) && eventKinds[kind] != 0
		if forSession := kind != upstream.EventBadPacket; translated != forSession {
			t.Errorf("kind %d: translated %v, want %v", kind, translated, forSession)
		}
	}
}
