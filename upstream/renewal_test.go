package upstream

import "testing"

func TestANewSessionIsKnownWhenTheEventsAfterItAreTaken(t *testing.T) {
	r := renewed
	r.eventsTaken()
	if r == noRenewal {
		t.Error("the owner may publish for what was before the event in the same batch")
	}
	r.eventsTaken()
	if r != noRenewal {
		t.Error("the owner has handled the event")
	}
	if r.eventsTaken(); r != noRenewal {
		t.Error("it does not come back")
	}
}
