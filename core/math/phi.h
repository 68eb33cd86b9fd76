#pragma once
// The functions of exponential integrators.

namespace thaw {

/// phi_0(z) = e^z, phi_{k+1}(z) = (phi_k(z) - 1/k!) / z (Hochbruck and Ostermann 2010, eq. 2.10), k in 0 .. 6.
///
/// Taylor series for |z| < 1, the recurrence with expm1 beyond: relative error below 1e-15 everywhere the function
/// does not vanish. The textbook form loses all digits below z = 1e-3. phi_k(-inf) is 0.
double phi(int k, double z);

}  // namespace thaw
