package upstream

import "testing"

func TestANewSessionIsKnownWhenTheEventsAfterItAreTaken(t *testing.T) {
	r := renewed
	r.taken()
	if r == noRenewal {
		t.Error("the owner may publish for what was before the event in the same batch")
	}
	r.taken()
	if r != noRenewal {
		t.Error("the owner has handled the event")
	}
	if r.taken(); r != noRenewal {
		t.Error("it does not come back")
	}
}
