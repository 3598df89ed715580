// Time that only runs forward.
#pragma once

double lm_seconds(void); // since some fixed moment
