package topicreg_test

import (
	"fmt"

	"sngate/topicreg"
)

// A Table hands out the topic ids of one device.
func ExampleTable() {
	var t topicreg.Table
	for _, name := range []string{"pumps/1/state", "pumps/1/set", "pumps/1/state", "pumps/1/alarm"} {
		id, err := t.Add(name, 2, nil)
		fmt.Println(id, err)
	}
	id, known := t.ID("pumps/1/set")
	fmt.Println(id, known)
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 1 <nil>
	// 0 no topic id is left for this device
	// 2 true
}

// A Predefined set holds ids that all know beforehand; the more specific entry wins.
func ExamplePredefined() {
	p, err := topicreg.NewPredefined([]topicreg.Entry{
		{ID: 1, Name: "sensors/state"},
		{ID: 1, Name: "pumps/state", Client: "pump-*"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, client := range []string{"lamp-1", "pump-1"} {
		name, _ := p.Name(client, 1)
		fmt.Println(client, name)
	}
	// Output:
	// lamp-1 sensors/state
	// pump-1 pumps/state
}

func ExampleMatches() {
	for _, filter := range []string{"pumps/+/state", "pumps/#", "pumps/+"} {
		fmt.Println(filter, topicreg.Matches(filter, "pumps/1/state"))
	}
	// Output:
	// pumps/+/state true
	// pumps/# true
	// pumps/+ false
}
