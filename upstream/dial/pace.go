package dial

import (
	"time"

	"sngate/internal/rate"
)

const (
	paceBurst = 100 * time.Millisecond
	paceSlice = 25 * time.Millisecond
)

func newPace(perSecond int) pace {
	if perSecond <= 0 {
		return pace{}
	}
	interval := time.Second / time.Duration(perSecond)
	return pace{limit: rate.Every(interval, paceBurst+interval), began: time.Now()}
}

// take lets one connect start, or returns how long it has to wait.
func (p *pace) take() (wait time.Duration) {
	return p.bucket.TakeOrWait(p.limit, time.Since(p.began), 1)
}
