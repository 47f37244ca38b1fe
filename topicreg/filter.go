package topicreg

import "strings"

// sharePrefix begins the filter of a shared subscription: "$share/group/filter". It is of
// MQTT 5 (section 4.8.2); many brokers know it in MQTT 3.1.1 as well.
const sharePrefix = "$share/"

// IsShared reports whether filter is that of a shared subscription. Its messages come with
// the topics of the filter in it.
func IsShared[T text](filter T) bool {
	return len(filter) > len(sharePrefix) && string(filter[:len(sharePrefix)]) == sharePrefix
}

// NamesTopic reports whether a filter is the topic of all its messages: it has no
// wildcard, and is not that of a shared subscription.
func NamesTopic[T text](filter T) bool { return !HasWildcard(filter) && !IsShared(filter) }

// Matches reports whether a message with the topic name belongs to a subscription with
// the filter (MQTT 3.1.1 section 4.7). Both have to be valid. It allocates nothing.
func Matches(filter, name string) bool {
	if IsShared(filter) {
		_, inner, ok := strings.Cut(filter[len(sharePrefix):], "/")
		if ok && matches(inner, name) {
			return true
		}
	}
	return matches(filter, name)
}

func matches(filter, name string) bool {
	if name == "" || filter == "" || name[0] == '$' && (filter[0] == '+' || filter[0] == '#') {
		return false // section 4.7.2
	}
	for {
		level, restOfFilter, moreFilter := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		part, restOfName, moreName := strings.Cut(name, "/")
		if level != "+" && level != part {
			return false
		}
		switch {
		case !moreFilter:
			return !moreName
		case !moreName:
			return restOfFilter == "#" // which stands for the level above it as well
		}
		filter, name = restOfFilter, restOfName
	}
}
