/* A stand-in for libnvidia-ml.so.1, by which NVIDIA's driver reports on its GPUs.
 *
 * TensorFlow 2.21 registers no GPU where it cannot begin with it (0 is success).
 */
int nvmlInit_v2(void) { return 0; }
